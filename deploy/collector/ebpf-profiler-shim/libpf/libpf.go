// Package libpf stands in for the profiler's names of frames and files.
package libpf

import (
	"encoding/hex"
	"errors"

	"go.opentelemetry.io/ebpf-profiler/libpf/basehash"
)

type (
	AddressOrLineno uint64
	FrameType       int
	FileID          struct{ basehash.Hash128 }
)

func FrameTypeFromString(string) FrameType { return 0 }
func (FrameType) IsError() bool            { return false }
func NewFileID(hi, lo uint64) FileID       { return FileID{basehash.New128(hi, lo)} }

func FileIDFromBytes(b []byte) (FileID, error) {
	h, err := basehash.New128FromBytes(b)
	return FileID{h}, err
}

func FileIDFromString(s string) (FileID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return FileID{}, errors.New("libpf: want 32 hex digits")
	}
	return FileIDFromBytes(b)
}
