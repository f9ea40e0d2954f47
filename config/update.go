package config

import (
	"time"

	"github.com/otto-edge/otto"
)

// updateKeys are those of how a new version comes; Compose has another name for
// what to do when it fails.
func updateKeys(onFailure string) map[string]key[service] {
	order := choice(otto.StartFirst, otto.StopFirst)
	return map[string]key[service]{
		"order": {"start-first or stop-first; start-first by default where two of it can be on a node at once.", order.schema, func(r *reader, v value, s *service) {
			var ok bool
			if s.Update.Order, ok = order.read(r, v); ok && s.Update.Order == otto.StartFirst {
				s.orderAt = &v.pos
			}
		}},
		"parallelism": given("Containers to update at a time, 1 by default.", integer(1, maxReplicas), func(s *service) *int { return &s.Update.Parallelism }),
		"delay":       given("Time between two of them.", duration(0, 24*time.Hour), func(s *service) *time.Duration { return &s.Update.Delay }),
		"monitor": given("How long each must stay up before the next, 5s by default.",
			duration(time.Second, 24*time.Hour), func(s *service) *time.Duration { return &s.Update.Monitor }),
		onFailure: given("rollback (default), pause or continue.",
			choice(otto.FailureRollback, otto.FailurePause, otto.FailureContinue), func(s *service) *string { return &s.Update.OnFailure }),
	}
}
