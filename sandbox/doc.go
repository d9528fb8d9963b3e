// Package sandbox stands in for the outside world: the Ottu checkout API, the Twilio message API and a mail server, all
// in memory on loopback addresses. It speaks the real protocols over real sockets and is as strict as the originals are
// documented to be, so that a client which works here has earned it; where the documents are silent it takes the harder
// reading (free text to WhatsApp is refused at once, amounts must be strings).
//
// What was taken can be read back, in Go ([Sandbox.Sessions], [Sandbox.Messages], [Sandbox.Mails], [Sandbox.Counts],
// [Sandbox.Duplicates]), as JSON under /sandbox/api/, and by people on pages under /. It can also misbehave on purpose: a
// [Rule] loses an answer after the work is done, does the work late, cuts a body, hangs or refuses, for the calls that it
// matches. It guarantees that a rule's "done" and "not done" are literally so, which is what tests of lost answers need.
//
// The package is for trial, tests and benchmarks. It shares no code with the clients it tests, keeps nothing on disk, and
// checks credentials only to catch clients that send wrong ones.
//
// # Addresses with a meaning
//
// Mailboxes, by the start of their local part:
//
//	nobody…    550 5.1.1 at RCPT
//	full…      452 4.2.2 on the first two tries, then accepted
//	deferred…  451 4.7.1 on the first try, then accepted
//	bounce-later@, bounce-later-5.7.1@  accepted, then reported as failed with 5.1.1 or that code (see Config.BounceTo)
//	delay-later@                        accepted, then reported as delayed
//
// Numbers, as Twilio's own test numbers: to +15005550001 is 21211, …0002 21612, …0003 21408, …0004 21610, …0009 21614;
// from +15005550001 is 21212, …0007 21606, …0008 21611. A number whose last five digits are one of Twilio's delivery
// errors is accepted and fails afterwards with it: +96550030003 ends undelivered with 30003 (see [AsyncErrors]).
package sandbox
