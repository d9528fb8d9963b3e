// Package intake brings a payer file into the ledger and says beforehand what that will mean: the plan that a person
// confirms. The command line, the API and the console share it, so that a file is judged alike wherever it comes in.
//
// [Check] reads a file whole and writes nothing. [Import] reads it into a batch, in chunks, while the next chunk is
// parsed and the last one is added up; its memory does not grow with the file, and an import that was killed goes on
// where it stopped. Both make the same [Plan] by the same code; Import compares its plan with the ledger's till before it
// closes the import, so the numbers that a person confirms are those of the rows that will be sent.
//
// The package leaves confirming and everything after it to its callers, and asks no provider anything. A plan names no
// payer: its rejections carry reasons and hints, not records.
package intake
