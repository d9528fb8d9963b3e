package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dunlin/ledger"
	"dunlin/paylink"
)

// filterFlags choose among the requests of a batch.
type filterFlags struct{ state, payment, cause, reference string }

func (x *filterFlags) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&x.state, "state", "", "only "+words(dispatchStates))
	f.StringVar(&x.payment, "payment", "", "only "+words(paymentStates))
	f.StringVar(&x.cause, "cause", "", "only those of this cause, such as bad_address")
	f.StringVar(&x.reference, "reference", "", "only those of this reference")
}

func (x filterFlags) filter() (ledger.RequestFilter, error) {
	return ledger.RequestFilter{Dispatch: paylink.DispatchState(x.state), Payment: paylink.PaymentState(x.payment), Cause: paylink.Cause(x.cause), Reference: x.reference},
		errors.Join(known("state", x.state, dispatchStates), known("payment", x.payment, paymentStates))
}

// words are the flags as they would be typed again.
func (x filterFlags) words() string {
	out := ""
	for _, f := range [][2]string{{"state", x.state}, {"payment", x.payment}, {"cause", x.cause}, {"reference", x.reference}} {
		if f[1] != "" {
			out += fmt.Sprintf(" --%s %q", f[0], f[1])
		}
	}
	return out
}

// cancelMatching calls those requests of a batch off that fit, after showing how many and how much that is.
func (a *app) cancelMatching(cmd *cobra.Command, arg string, flags filterFlags) error {
	ctx := cmd.Context()
	id, err := batchArg(arg)
	if err != nil {
		return err
	}
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	db, err := a.openLedger(ctx)
	if err != nil {
		return err
	}
	if _, err := db.Batch(ctx, id); err != nil {
		return err
	}
	var n int64
	sums := map[string]int64{}
	err = db.Requests(ctx, id, filter, func(l ledger.RequestLine) error {
		if paylink.PaymentMachine.CanByCommand(l.Request.Payment, paylink.PaymentCanceled) {
			n++
			sums[l.Request.Amount.Currency] += left(l).Minor
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return a.report(did{Batch: id, Requests: new(int)}, "No request of %s that could be canceled fits.", id)
	}
	var parts []string
	for _, currency := range slices.Sorted(maps.Keys(sums)) {
		parts = append(parts, money(paylink.Money{Minor: sums[currency], Currency: currency}))
	}
	question := fmt.Sprintf("Cancel %s of %s, %s in all?", count(n, "request"), id, strings.Join(parts, " and "))
	if err := a.confirm(ctx, question, fmt.Sprintf("enqueue cancel %s%s --yes", id, flags.words())); err != nil {
		return err
	}
	did := did{Batch: id}
	canceled, err := db.CancelMatching(ctx, id, filter, a.who(), a.why)
	if err != nil {
		return err
	}
	did.Requests = &canceled
	return a.report(did, "%s of %s canceled. Links that are out are ended by the workers: enqueue status %s", count(int64(canceled), "request"), id, id)
}
