package jobs_test

import (
	"slices"
	"testing"
	"time"

	"dunlin/internal/testenv"
	"dunlin/jobs"
	"dunlin/paylink"
)

// TestStats counts what lies in the queues, those included that nothing was ever put into.
func TestStats(t *testing.T) {
	t.Parallel()
	q := jobs.NewAsynqQueue(connect(t, testenv.Redis(t)))
	if err := q.Enqueue(t.Context(), paylink.Wake{Task: paylink.TaskCreate, ID: 1, Epoch: 1}, paylink.Wake{Task: paylink.TaskCreate, ID: 2, Epoch: 1},
		paylink.Wake{Task: paylink.TaskSend, ID: 3, Epoch: 1, Channel: paylink.SMS, At: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	got, err := q.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []jobs.QueueStat{{Queue: "checkout", Pending: 2}, {Queue: "sms", Scheduled: 1}, {Queue: "email"}} {
		if !slices.Contains(got, want) {
			t.Errorf("got %+v, want %+v among them", got, want)
		}
	}
	if len(got) != len(jobs.QueueNames) {
		t.Errorf("got %d queues, want %d", len(got), len(jobs.QueueNames))
	}
}
