// Package basehash stands in for the profiler's 128-bit hash: profiles, its only user, never reach this Collector.
package basehash

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
)

type Hash128 struct{ hi, lo uint64 }

func New128(hi, lo uint64) Hash128 { return Hash128{hi, lo} }

func New128FromBytes(b []byte) (Hash128, error) {
	if len(b) != 16 {
		return Hash128{}, errors.New("basehash: want 16 bytes")
	}
	return Hash128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, nil
}

func (h Hash128) IsZero() bool   { return h.hi == 0 && h.lo == 0 }
func (h Hash128) Base64() string { return base64.RawURLEncoding.EncodeToString(h.Bytes()) }
func (h Hash128) Bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h.hi), h.lo)
}
