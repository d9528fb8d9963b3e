//go:build race

package ledgertest

// auditEvery: the race detector makes SQLite ten times slower, and an audit reads everything.
const auditEvery = 5
