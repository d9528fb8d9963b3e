package report

import (
	"context"
	"errors"
	"io"

	"dunlin/batchfile"
	"dunlin/paylink"
)

// Rejections is what the file of rejected rows is made from.
type Rejections interface {
	Rejections(ctx context.Context, id paylink.BatchID, all bool, fn func(paylink.Rejection) error) error
}

// errStop ends a walk whose listener has gone.
var errStop = errors.New("stop")

// Errors writes the rejected rows of a batch as [batchfile.WriteErrors] does, each with its id before its reason, by
// which the reader of the mended file finds it again, and says how many. Rows that were mended are left out unless all.
func Errors(ctx context.Context, w io.Writer, db Rejections, b paylink.Batch, all bool) (n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	rows, failed := make(chan paylink.Rejection), make(chan error, 1)
	go func() {
		defer close(rows)
		failed <- db.Rejections(ctx, b.ID, all, func(r paylink.Rejection) error {
			select {
			case rows <- r:
				return nil
			case <-ctx.Done():
				return errStop
			}
		})
	}()
	err = batchfile.WriteErrors(w, b.Header, func() (*paylink.Rejection, bool, error) {
		r, ok := <-rows
		if !ok {
			return nil, false, <-failed
		}
		n++
		r.Reason = paylink.NewRequestID(b.ID, r.Number).String() + ": " + r.Reason
		return &r, true, nil
	})
	cancel()
	for range rows { // the walk has ended when this has: the ledger may be closed
	}
	return n, err
}
