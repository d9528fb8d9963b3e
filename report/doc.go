// Package report writes the record for people and programs outside: requests as JSON, a batch's export, and the file of
// its rejected rows. The command line and the API share it, so that both say the same in the same words.
//
// It reads the ledger through small interfaces, streams whatever may be long, and changes nothing. What it writes may
// hold personal data (a link, a rejected record); who may see that is its callers' business.
package report
