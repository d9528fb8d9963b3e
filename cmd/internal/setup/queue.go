package setup

import (
	"context"
	"net/http"

	"dunlin/jobs"
	"dunlin/web/queue"
)

// dashboard wires asynq's dashboard behind the console's sign-in.
func (c Config) dashboard(s *Server, opt WorkerOptions) (http.Handler, error) {
	db := s.worker.Ledger
	return queue.New(queue.Config{Redis: jobs.Conn{UniversalClient: opt.Redis}, Auth: s.Console.Auth, Ledger: db, Log: opt.Log,
		Page: func(ctx context.Context, task string, payload []byte) string {
			wake, err := jobs.ReadTask(task, payload)
			if err != nil {
				return ""
			}
			id, err := db.RequestOf(ctx, wake)
			if err != nil {
				return ""
			}
			return c.PublicURL + "/console/requests/" + id.String()
		}})
}
