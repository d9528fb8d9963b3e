package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// follow watches a batch until nothing of it is pending or in flight. A batch that halted or was canceled ends the watch
// with exit code 1; one that is paused or held may go on any moment and is watched on. Ctrl-C ends the watch only.
func (a *app) follow(ctx context.Context, db *ledger.DB, id paylink.BatchID) error {
	ticker := time.NewTicker(a.poll)
	defer ticker.Stop()
	w := &watch{app: a, begun: a.now()}
	for {
		st, err := db.Status(ctx, id)
		if ctx.Err() != nil {
			return w.interrupted(id)
		}
		if err != nil {
			return err
		}
		w.show(st)
		switch {
		case st.State == paylink.BatchHalted:
			w.end()
			return fmt.Errorf("batch %s halted: %s\nWhen it was looked into: enqueue resume %s", id, sentence(st.Why), id)
		case st.State == paylink.BatchCanceled && st.Done:
			w.end()
			return fmt.Errorf("batch %s was canceled", id)
		case st.State == paylink.BatchDraft || st.State == paylink.BatchImporting:
			w.end()
			return fmt.Errorf("batch %s is not sent yet\nTo send it: enqueue send %s", id, id)
		case st.Done:
			w.end()
			if !a.json {
				fmt.Fprintf(a.out, "Batch %s is through: %s\n", id, loose(till(st)))
			}
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return w.interrupted(id)
		}
	}
}

// watch draws one batch: a bar on a terminal, a line whenever something changed elsewhere, at most every few seconds.
type watch struct {
	app   *app
	begun time.Time
	first *paylink.Status
	last  paylink.Status
	shown time.Time
	drawn bool
}

// plainEvery is how often a line is written where there is no bar.
const plainEvery = 5 * time.Second

func (w *watch) show(st paylink.Status) {
	now := w.app.now()
	if w.first == nil {
		w.first = &st
	}
	s := w.app.err
	if !s.terminal {
		changed := st.State != w.last.State
		if changed || (st.Counts != w.last.Counts && now.Sub(w.shown) >= plainEvery) {
			fmt.Fprintf(s, "%s %s: %s\n", st.Batch, st.State, loose(till(st)))
			w.last, w.shown = st, now
		}
		return
	}
	through := st.Rows - st.Counts.Pending - st.Counts.InFlight
	thousandths := 1000
	if st.Rows > 0 {
		thousandths = int(through * 1000 / st.Rows)
	}
	line := fmt.Sprintf("%s sent", group(st.Counts.Sent))
	if st.Counts.Failed > 0 {
		line += fmt.Sprintf(", %s failed", group(st.Counts.Failed))
	}
	if st.State != paylink.BatchRunning {
		line += ", " + string(st.State)
	} else if done, took := through-w.begunAt(), now.Sub(w.begun); done > 0 && took > 2*time.Second {
		left := time.Duration(float64(took) / float64(done) * float64(st.Rows-through))
		line += fmt.Sprintf(", %s/s, %s left", group(rate(done, took)), intake.Span(left))
	}
	width := max(s.width()-len(line)-14, 10)
	fmt.Fprintf(s, "\r\x1b[K%s %s  %s", st.Batch, bar(min(width, 40), thousandths), strings.TrimSpace(line))
	w.drawn = true
}

func (w *watch) begunAt() int64 {
	return w.first.Rows - w.first.Counts.Pending - w.first.Counts.InFlight
}

func (w *watch) end() {
	if w.drawn {
		fmt.Fprint(w.app.err, "\r\x1b[K")
		w.drawn = false
	}
}

func (w *watch) interrupted(id paylink.BatchID) error {
	if w.drawn {
		fmt.Fprintln(w.app.err)
	}
	fmt.Fprintf(w.app.err, "Stopped watching; the batch goes on. To watch again: enqueue status %s --follow\n", id)
	return &exitError{exitDone, nil}
}
