//go:build !race

package ledgertest

// auditEvery is how many steps go by between two audits.
const auditEvery = 1
