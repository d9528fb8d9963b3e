package jobs

import "time"

// SetSleep replaces how a worker waits between tries to record an outcome.
func (w *Worker) SetSleep(sleep func(time.Duration)) { w.sleep = sleep }
