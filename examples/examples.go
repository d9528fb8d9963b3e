// Package examples holds a payer file to try Dunlin with; README.md beside it says which rows are bad and which fail. The
// demo sends it, and tests read it. Its people, numbers and addresses are made up.
package examples

import _ "embed"

// Payers is payers.csv.
//
//go:embed payers.csv
var Payers []byte
