package ottotest

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
)

// Store is a control.Store in memory. It outlives control planes.
type Store struct {
	mu   sync.Mutex
	docs map[string][]byte
	// fail, if set, is what Put returns.
	fail   error
	good   int // how often it works before that
	failed int
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{docs: map[string][]byte{}} }

// Copy returns a store with the same documents.
func (s *Store) Copy() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Store{docs: maps.Clone(s.docs)}
}

// Become makes the store hold what another one does.
func (s *Store) Become(other *Store) {
	docs := other.Copy().docs
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs = docs
}

// Lose loses a document, as a damaged disk may.
func (s *Store) Lose(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.docs, key)
}

// Get implements control.Store.
func (s *Store) Get(_ context.Context, key string, value any) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.docs[key]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(b, value)
}

// Put implements control.Store.
func (s *Store) Put(_ context.Context, key string, value any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good--; s.fail != nil && s.good < 0 {
		s.failed++
		return s.fail
	}
	b, err := json.Marshal(value)
	s.docs[key] = b
	return err
}

// Failed is how often Put has failed.
func (s *Store) Failed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// SetFail makes Put fail, or work again.
func (s *Store) SetFail(err error) { s.FailAfter(0, err) }

// FailAfter makes Put fail when it has worked n times.
func (s *Store) FailAfter(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good, s.fail = n, err
}
