package jobs

import (
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"dunlin/paylink"
)

// Conn hands a Redis client to asynq's tools.
type Conn struct{ redis.UniversalClient }

// MakeRedisClient is what asynq asks of a connection.
func (c Conn) MakeRedisClient() any { return c.UniversalClient }

// ReadTask says what a task of the queue would wake.
func ReadTask(task string, payload []byte) (paylink.Wake, error) {
	return parseTask(asynq.NewTask(task, payload))
}
