// Package archtest holds no code, only the test of who may import whom.
//
// The rules stand as a table in archtest_test.go: which of our packages a package may import, and which one place a
// third-party library lives in. They keep the domain in the middle and the adapters from knowing each other, so that each
// can be tested, and replaced, alone. A package that the table does not name fails the test: its row is a decision to be
// made when the package is.
package archtest
