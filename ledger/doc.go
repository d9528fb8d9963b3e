// Package ledger is the SQL record of everything that Dunlin owes and did: the truth of which the queue is only a hint.
//
// An exported method of [DB] is one transaction. It moves states by compare-and-swap, writes an event for every move and
// keeps the till's counts by deltas, all or nothing. Two dialects share one text of SQL: SQLite, where one writer commits
// many callers' changes together (group commit), and PostgreSQL with plain concurrent commits. The semantics are held by
// ledgertest, which runs over both.
//
// The ledger decides, it does not act: it never calls a provider and never touches the queue. Whoever acts holds a claim
// (see [paylink.MessageClaim]) with a lease; an act whose lease ran out is released if it surely did not happen and
// becomes unknown if it may have.
package ledger
