// Package console is where people work: they upload a payer file, see what would be sent, send it, watch it, find one
// payer, mend what went wrong, and see what needs a person. It speaks the words of finance people.
//
// Pages are rendered here, work without JavaScript and without a mouse, and change nothing when they are read; what
// changes something is a form that is posted from this site by somebody signed in whose role allows it, and ends in the same
// ledger methods as the command line, with the user and the reason in the record. One static script adds live progress,
// dropping files and copying links. No page costs more for a larger batch: counts come from the till, lists go by keys.
//
// Contacts are shown to roles that need them; a viewer sees them masked. [Console.Auth] lets people in here and wherever
// else it is asked to.
package console
