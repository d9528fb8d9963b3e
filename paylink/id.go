package paylink

import (
	"fmt"
	"strconv"
	"strings"
)

// BatchID numbers a batch within one ledger. Written "b12".
type BatchID int64

// RequestID names one row of one batch: the batch in the upper 32 bits, the row's number (from 1) in the lower.
// Written "b12.345". That the id carries both makes a batch a key range, which is how feeding and exports walk it.
type RequestID int64

// SessionID numbers a checkout session in the ledger, before and apart from the provider's own id. Written "s7".
type SessionID int64

// MessageID numbers a message: one purpose to one payer by one channel, however many attempts it takes. Written "m7".
type MessageID int64

// AttemptID numbers one attempt at sending a message. Written "a7".
type AttemptID int64

// MaxRows is how many rows one batch can number.
const MaxRows = 1<<31 - 1

// NewRequestID joins a batch and a row number.
func NewRequestID(b BatchID, row int) RequestID { return RequestID(int64(b)<<32 | int64(row)) }

// Batch is the batch that the request belongs to.
func (id RequestID) Batch() BatchID { return BatchID(id >> 32) }

// Row is the request's row number in its file, from 1, the header not counted.
func (id RequestID) Row() int { return int(id & 0xffffffff) }

func (id BatchID) String() string   { return "b" + strconv.FormatInt(int64(id), 10) }
func (id SessionID) String() string { return "s" + strconv.FormatInt(int64(id), 10) }
func (id MessageID) String() string { return "m" + strconv.FormatInt(int64(id), 10) }
func (id AttemptID) String() string { return "a" + strconv.FormatInt(int64(id), 10) }
func (id RequestID) String() string { return fmt.Sprintf("b%d.%d", id.Batch(), id.Row()) }

// MarshalText writes the id in its printed form, so that JSON and logs show what people type.
func (id BatchID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText is as [BatchID.MarshalText].
func (id RequestID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText is as [BatchID.MarshalText].
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText is as [BatchID.MarshalText].
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText is as [BatchID.MarshalText].
func (id AttemptID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *BatchID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseBatchID(string(b))
	return err
}

// UnmarshalText reads what MarshalText wrote.
func (id *RequestID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseRequestID(string(b))
	return err
}

// UnmarshalText reads what MarshalText wrote.
func (id *SessionID) UnmarshalText(b []byte) error {
	n, err := parseNumber("session", "s", string(b))
	*id = SessionID(n)
	return err
}

// UnmarshalText reads what MarshalText wrote.
func (id *MessageID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseMessageID(string(b))
	return err
}

// ParseBatchID reads "b12" (the b may be missing).
func ParseBatchID(s string) (BatchID, error) {
	n, err := parseNumber("batch", "b", s)
	if err == nil && n >= 1<<31 {
		return 0, fmt.Errorf("batch id %q is out of range: %w", s, ErrInvalid)
	}
	return BatchID(n), err
}

// ParseMessageID reads "m12".
func ParseMessageID(s string) (MessageID, error) {
	n, err := parseNumber("message", "m", s)
	return MessageID(n), err
}

// ParseRequestID reads "b12.345".
func ParseRequestID(s string) (RequestID, error) {
	b, r, ok := strings.Cut(s, ".")
	if !ok {
		return 0, fmt.Errorf("request id %q is not of the form b12.345: %w", s, ErrInvalid)
	}
	batch, err := ParseBatchID(b)
	if err != nil {
		return 0, err
	}
	row, err := strconv.ParseUint(r, 10, 32)
	if err != nil || row == 0 || row > MaxRows {
		return 0, fmt.Errorf("request id %q has no row number: %w", s, ErrInvalid)
	}
	return NewRequestID(batch, int(row)), nil
}

func parseNumber(what, prefix, s string) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), prefix), 10, 63) // unsigned: no "b+12"
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s id %q is not of the form %s12: %w", what, s, prefix, ErrInvalid)
	}
	return int64(n), nil
}
