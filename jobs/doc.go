// Package jobs does the work that the ledger says is owed. It is the only package that knows the queue.
//
// A task carries an id and an epoch and nothing else; it wakes a handler, which claims the work from the ledger, acts on
// the outside world and records the outcome. The queue runs tasks at least once and sometimes twice, late or not at all;
// none of that matters, because a claim is granted once and the sweeper wakes what the queue forgot.
//
// The handlers ([Worker.Do]) know nothing of asynq, so that the failure table can run them step by step with a moved
// clock. asynq lives in queue.go and server.go: one server per outside provider, so that a slow one holds up no other.
package jobs
