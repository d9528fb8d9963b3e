// Package paylink is the domain of Dunlin: the words that every other package speaks.
//
// A [Batch] is one file (or one API call) of payers. Each accepted row of it is a [Request]: one debt, asked of one
// payer. A request owns at most one live checkout [Session] at the payment provider, whose link reaches the payer in one
// [Message] per channel. Whatever changes state writes an [Event].
//
// Two state machines run side by side, because events of the outside world arrive in any order: the dispatch state says
// what we did, the payment state says what the payer did. The tables are data (see [DispatchMachine], [PaymentMachine]
// and their siblings); the database repeats them as CHECK constraints and docs/states.md is generated from them.
//
// The package imports nothing of the project and, beside the standard library, only the money library. It does no I/O.
package paylink
