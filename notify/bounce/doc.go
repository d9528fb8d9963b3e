// Package bounce takes in the mail that comes back: a message is sent from an address of its own (VERP), the mail systems
// on its way report to that address, and this package reads the reports (RFC 3464), keeps them and has them applied.
//
// An [Address] makes the senders' addresses. They carry the attempt's token under a MAC, so a report can be invented by
// nobody but those who have the mail itself. A [Report] is what a message says of the delivery, codes only. An [Intake]
// stores what was told, without any address in it, and applies it once; a [Listener] feeds it from a small LMTP or SMTP
// server, and [ReadMailbox] from files.
//
// Only a report of failure is a bounce: one that says "delayed" changes nothing. What the failure means is the table of
// notify/mailstatus, the same by which a relay's immediate refusals are judged.
package bounce
