package intake

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"dunlin/batchfile"
	"dunlin/ledger"
	"dunlin/paylink"
)

// Debts is what a check asks the ledger.
type Debts interface {
	// FindHash returns the newest batch of the same content, or paylink.ErrNotFound.
	FindHash(ctx context.Context, hash string) (paylink.Batch, error)
	// OpenDebts says which of the rows' debts are already asked for.
	OpenDebts(ctx context.Context, rows []ledger.ImportRow) (map[uint64]paylink.RequestID, error)
	// Batches returns the newest batches.
	Batches(ctx context.Context, limit int) ([]paylink.Batch, error)
}

// Check reads a file whole and plans what sending it would mean; it writes nothing. debts may be nil: then repeats of
// debts that are already asked for are not found. same is the newest batch of the same content, if there is one. A file
// that cannot be used is a [*batchfile.FileError]. Memory grows by some 50 bytes a row, to find duplicates.
func Check(ctx context.Context, path string, rd Reading, s Settings, debts Debts) (p Plan, same *paylink.Batch, err error) {
	sum, err := batchfile.Hash(path)
	if err != nil {
		return p, nil, err
	}
	next := paylink.BatchID(1)
	if debts != nil {
		b, err := debts.FindHash(ctx, sum)
		switch {
		case err == nil:
			same = &b
		case !errors.Is(err, paylink.ErrNotFound):
			return p, nil, fmt.Errorf("looking for the same file in the ledger: %w", err)
		}
		newest, err := debts.Batches(ctx, 1)
		if err != nil {
			return p, nil, fmt.Errorf("looking for the newest batch: %w", err)
		}
		if len(newest) > 0 {
			next = newest[0].ID + 1
		}
	}
	r, err := open(path, "", rd, s.Now)
	if err != nil {
		return p, nil, err
	}
	defer r.Close()
	j := judge{debts: debts, seen: map[uint64]int{}, batch: next, allow: rd.AllowRepeat}
	if same != nil && (same.State == paylink.BatchImporting || same.State == paylink.BatchDraft) {
		j.batch = same.ID // send would go on with it: its rows are no repeats of themselves
	}
	t := newTally(s, j.batch)
	chunks := make(chan []ledger.ImportRow, 2)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return stream(ctx, r, chunks) })
	g.Go(func() error {
		for chunk := range chunks {
			repeats, err := j.repeats(ctx, chunk)
			if err != nil {
				return err
			}
			if err := t.add(chunk, repeats); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return p, same, err
	}
	p = Plan{File: r.name, Hash: sum, Format: r.Format(), Columns: columnsOf(r.Columns())}
	t.into(&p)
	return p, same, nil
}

// judge finds what an import would reject as duplicates and repeats.
type judge struct {
	debts Debts
	seen  map[uint64]int // debt key -> row
	batch paylink.BatchID
	allow bool
}

func (j *judge) repeats(ctx context.Context, chunk []ledger.ImportRow) (out []paylink.Rejection, err error) {
	if j.allow {
		return nil, nil
	}
	open := map[uint64]paylink.RequestID{}
	if j.debts != nil {
		if open, err = j.debts.OpenDebts(ctx, chunk); err != nil {
			return nil, fmt.Errorf("looking for open debts: %w", err)
		}
	}
	for _, r := range chunk {
		if r.Row == nil {
			continue
		}
		if other, ok := open[r.DebtKey]; ok && other.Batch() != j.batch {
			out = append(out, paylink.Rejection{
				Number: r.Row.Number, Line: r.Row.Line, Kind: paylink.RepeatKind,
				Reason: fmt.Sprintf("the same debt is already being asked for as request %s", other),
				Hint:   "delete the row, or send the file with --allow-repeat if the payer really owes it twice",
			})
			continue
		}
		if row, ok := j.seen[r.DebtKey]; ok {
			out = append(out, paylink.Rejection{
				Number: r.Row.Number, Line: r.Row.Line, Kind: paylink.DuplicateKind,
				Reason: fmt.Sprintf("the same debt stands in row %d of this file", row),
				Hint:   "delete one of the two, or give each its own reference",
			})
			continue
		}
		j.seen[r.DebtKey] = r.Row.Number
	}
	return out, nil
}

// AsFileError is the error about the file as a whole inside err, if that is what it is.
func AsFileError(err error) (*batchfile.FileError, bool) {
	return errors.AsType[*batchfile.FileError](err)
}
