package sandbox

import "time"

// SetWebhookTimes shortens the waits of a test of webhook retries.
func (s *Sandbox) SetWebhookTimes(timeout, pause time.Duration) {
	s.webhookTimeout, s.webhookPause = timeout, pause
}
