package api

import "fmt"

// Code says what kind of refusal an Error is.
type Code string

// The refusals. NotLeader never reaches a caller of Client, which follows it.
const (
	CodeInvalid    Code = "invalid"
	CodeUnknownRun Code = "unknown_run"
	CodeConflict   Code = "conflict"
	CodeRunOver    Code = "run_over"
	CodeNotMember  Code = "not_member"
	CodeNotLeader  Code = "not_leader"
)

// Error is a refusal by the coordinator: trying again would give the same. Compare it with
// errors.Is to one of the sentinels.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// The sentinels a caller may branch on.
var (
	ErrInvalid    = &Error{Code: CodeInvalid, Message: "the request is invalid"}
	ErrUnknownRun = &Error{Code: CodeUnknownRun, Message: "the run is unknown"}
	ErrConflict   = &Error{Code: CodeConflict, Message: "the request conflicts with what the run already is"}
	ErrRunOver    = &Error{Code: CodeRunOver, Message: "the run is over"}
	ErrNotMember  = &Error{Code: CodeNotMember, Message: "the worker is not a member of the run"}
	errNotLeader  = &Error{Code: CodeNotLeader, Message: "the node does not lead its group"}
)

// Errorf makes an Error with a sentence.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is an Error of the same kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}
