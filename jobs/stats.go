package jobs

import (
	"context"
	"slices"
)

// QueueStat is how many tasks of one queue stand where.
type QueueStat struct {
	Queue                                       string
	Pending, Active, Scheduled, Retry, Archived int
	// Paused: somebody stopped the queue in the dashboard.
	Paused bool
}

// Stats reads every queue's numbers. A queue into which nothing was ever put counts as empty.
func (q *AsynqQueue) Stats(context.Context) ([]QueueStat, error) {
	known, err := q.inspector.Queues()
	if err != nil {
		return nil, err
	}
	out := make([]QueueStat, 0, len(QueueNames))
	for _, name := range QueueNames {
		s := QueueStat{Queue: name}
		if slices.Contains(known, name) {
			info, err := q.inspector.GetQueueInfo(name)
			if err != nil {
				return nil, err
			}
			s.Pending, s.Active, s.Scheduled, s.Retry, s.Archived, s.Paused = info.Pending, info.Active, info.Scheduled, info.Retry, info.Archived, info.Paused
		}
		out = append(out, s)
	}
	return out, nil
}
