package paylink_test

import (
	"reflect"
	"testing"

	"dunlin/paylink"
)

// Each count has a decimal place of its own, so that one that is left out, or counted twice, shows.
func TestCountsSum(t *testing.T) {
	var c paylink.Counts
	v := reflect.ValueOf(&c).Elem()
	var want int64
	place := int64(1)
	for i := range v.NumField() {
		v.Field(i).SetInt(place)
		want += place
		place *= 10
	}
	if got := c.Sum(); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	// The rejected rows and one count for each dispatch state are the whole till.
	if got, want := v.NumField(), 1+len(paylink.DispatchMachine.States); got != want {
		t.Errorf("got %d counts, want %d", got, want)
	}
}

func TestCountsDone(t *testing.T) {
	for i, v := 0, reflect.TypeFor[paylink.Counts](); i < v.NumField(); i++ {
		var c paylink.Counts
		reflect.ValueOf(&c).Elem().Field(i).SetInt(1)
		name := v.Field(i).Name
		if got, want := c.Done(), name != "Pending" && name != "InFlight"; got != want {
			t.Errorf("one row %s: got done %v, want %v", name, got, want)
		}
	}
	if !(paylink.Counts{}).Done() {
		t.Error("a batch without rows: got not done, want done")
	}
}
