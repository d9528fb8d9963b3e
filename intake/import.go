package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"dunlin/batchfile"
	"dunlin/ledger"
	"dunlin/paylink"
)

// Ledger is what an import needs of the record. Each method is one transaction.
type Ledger interface {
	CreateBatch(ctx context.Context, n ledger.NewBatch) (b paylink.Batch, resumed bool, err error)
	ImportChunk(ctx context.Context, id paylink.BatchID, rows []ledger.ImportRow, opt ledger.ImportOptions) (repeats []paylink.Rejection, err error)
	FinishImport(ctx context.Context, id paylink.BatchID, rows int, plan []byte, actor string) error
	CancelBatch(ctx context.Context, id paylink.BatchID, actor, why string) error
	Batch(ctx context.Context, id paylink.BatchID) (paylink.Batch, error)
	Status(ctx context.Context, id paylink.BatchID) (paylink.Status, error)
	Rejections(ctx context.Context, id paylink.BatchID, all bool, fn func(paylink.Rejection) error) error
}

// Order is a file to be brought in.
type Order struct {
	Path    string
	Reading Reading
	Actor   string // who, for the record
	// Again makes a new batch of content that was sent before.
	Again bool
	// Began is called once the batch is there; resumed says that an earlier import or draft goes on. May be nil.
	Began func(b paylink.Batch, resumed bool)
	// Progress is told, after each chunk, how many rows are in and how much of the file was read, in thousandths. nil = nobody.
	Progress func(rows int64, thousandths int)
}

// Import reads a file into a batch and leaves that a draft, with the plan that must be confirmed before anything of it is
// sent. The same content resumes its batch if that is still importing or a draft; of a batch that was sent the error is a
// [*ledger.SentBeforeError]. A file that cannot be read to its end is a [*batchfile.FileError], and its batch is canceled.
func Import(ctx context.Context, l Ledger, s Settings, o Order) (b paylink.Batch, p Plan, err error) {
	sum, err := batchfile.Hash(o.Path)
	if err != nil {
		return b, p, err
	}
	options, err := o.Reading.Options()
	if err != nil {
		return b, p, err
	}
	header, parent, err := look(o.Path, o.Reading, s)
	if err != nil {
		return b, p, err
	}
	if parent != 0 {
		// An error file of another ledger mends nothing here.
		if _, err := l.Batch(ctx, parent); errors.Is(err, paylink.ErrNotFound) {
			parent = 0
		} else if err != nil {
			return b, p, err
		}
	}
	r, err := open(o.Path, o.Reading, s.Now)
	if err != nil {
		return b, p, err
	}
	name, format := r.name, r.Format()
	r.Close()
	b, resumed, err := l.CreateBatch(ctx, ledger.NewBatch{
		Name: name, Hash: sum, Format: format, Header: header, Parent: parent, Actor: o.Actor, Options: options, Again: o.Again,
		Canary: o.Reading.Canary, BrakePercent: o.Reading.BrakePercent,
		Receipts: o.Reading.Receipts,
	})
	if err != nil {
		return b, p, err
	}
	if o.Began != nil {
		o.Began(b, resumed)
	}
	if b.State == paylink.BatchDraft {
		p, err = PlanOf(b)
		return b, p, err
	}
	p, err = read(ctx, l, s, o, b, resumed)
	if err != nil {
		if _, ok := AsFileError(err); ok {
			// With this content it can never be finished, and in its way it would stand when the file is read otherwise.
			err = errors.Join(err, l.CancelBatch(context.WithoutCancel(ctx), b.ID, o.Actor, "the file cannot be read to its end"))
		}
		return b, p, err
	}
	b, err = l.Batch(ctx, b.ID)
	return b, p, err
}

// PlanOf is the plan that the ledger keeps of a batch.
func PlanOf(b paylink.Batch) (p Plan, err error) {
	if err := json.Unmarshal(b.Plan, &p); err != nil {
		return p, fmt.Errorf("the plan of batch %s: %w", b.ID, err)
	}
	return p, nil
}

// read imports the file and closes the import. If somebody else imports the same file at the same time, or rows were in
// before, the ledger knows of repeats that this reading was not told of: then the file is read once more for the plan.
func read(ctx context.Context, l Ledger, s Settings, o Order, b paylink.Batch, resumed bool) (p Plan, err error) {
	for tries := 0; ; tries++ {
		var known []paylink.Rejection
		if resumed || tries > 0 {
			if known, err = knownRepeats(ctx, l, b.ID); err != nil {
				return p, err
			}
		}
		p, err = pass(ctx, l, s, o, b, known)
		if errors.Is(err, paylink.ErrConflict) {
			return finishedBy(ctx, l, b.ID, err)
		}
		if err != nil {
			return p, err
		}
		st, err := l.Status(ctx, b.ID)
		if err != nil {
			return p, err
		}
		if st.Counts.Pending == p.Good && st.Counts.Rejected == p.Rejected {
			break
		}
		if tries == 2 {
			return p, fmt.Errorf("batch %s holds %d good rows and the file %d: has it changed while it was read? %w", b.ID, st.Counts.Pending, p.Good, paylink.ErrConflict)
		}
	}
	plan, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	err = l.FinishImport(ctx, b.ID, int(p.Rows), plan, o.Actor)
	if errors.Is(err, paylink.ErrConflict) {
		return finishedBy(ctx, l, b.ID, err)
	}
	return p, err
}

// finishedBy is the plan of who imported the same file at the same time and was first; err if that is not what happened.
func finishedBy(ctx context.Context, l Ledger, id paylink.BatchID, err error) (Plan, error) {
	if b, e := l.Batch(ctx, id); e == nil && b.State == paylink.BatchDraft {
		return PlanOf(b)
	}
	return Plan{}, err
}

// pass reads the file once: one goroutine parses, one writes, one adds up.
func pass(ctx context.Context, l Ledger, s Settings, o Order, b paylink.Batch, known []paylink.Rejection) (p Plan, err error) {
	r, err := open(o.Path, o.Reading, s.Now)
	if err != nil {
		return p, err
	}
	defer r.Close()
	type written struct {
		chunk   []ledger.ImportRow
		repeats []paylink.Rejection
	}
	parsed, stored := make(chan []ledger.ImportRow, 2), make(chan written, 2)
	t := newTally(s, b.ID)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return stream(gctx, r, parsed) })
	g.Go(func() error {
		defer close(stored)
		for chunk := range parsed {
			repeats, err := l.ImportChunk(gctx, b.ID, chunk, ledger.ImportOptions{AllowRepeat: o.Reading.AllowRepeat, Actor: o.Actor})
			if err != nil {
				return err
			}
			last := number(chunk[len(chunk)-1])
			n := 0
			for n < len(known) && known[n].Number <= last {
				n++
			}
			repeats = append(known[:n:n], repeats...)
			known = known[n:]
			select {
			case stored <- written{chunk, repeats}:
			case <-gctx.Done():
				return gctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		for w := range stored {
			if err := t.add(w.chunk, w.repeats); err != nil {
				return err
			}
			if o.Progress != nil {
				o.Progress(t.rows, int(r.at.end.Load()*1000/max(r.size, 1)))
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return p, fmt.Errorf("importing %s: %w", b.ID, ctx.Err())
		}
		return p, err
	}
	p = Plan{File: r.name, Hash: b.Hash, Format: r.Format(), Columns: columnsOf(r.Columns())}
	t.into(&p)
	p.receipts(o.Reading.Receipts, s)
	return p, nil
}

// knownRepeats are the rows that the ledger rejected although they are good in themselves, in order. Whoever imports rows
// that are in already is not told of them again.
func knownRepeats(ctx context.Context, l Ledger, id paylink.BatchID) (out []paylink.Rejection, err error) {
	err = l.Rejections(ctx, id, true, func(r paylink.Rejection) error {
		if r.Kind == paylink.DuplicateKind || r.Kind == paylink.RepeatKind {
			r.Raw = nil
			out = append(out, r)
		}
		return nil
	})
	return out, err
}

func number(r ledger.ImportRow) int {
	if r.Row != nil {
		return r.Row.Number
	}
	return r.Rejection.Number
}
