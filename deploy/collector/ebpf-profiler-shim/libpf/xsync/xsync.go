// Package xsync stands in for the profiler's lock that owns what it guards.
package xsync

import "sync"

type RWMutex[T any] struct {
	mu sync.RWMutex
	v  T
}

func NewRWMutex[T any](v T) RWMutex[T] { return RWMutex[T]{v: v} }
func (m *RWMutex[T]) WLock() *T        { m.mu.Lock(); return &m.v }
func (m *RWMutex[T]) WUnlock(p **T)    { *p = nil; m.mu.Unlock() }
