package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode reads everything that comes from the wire: an error or a value, and a value that can be
// written reads back as itself.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"x","op":"create","run":"demo","spec":{"run":"demo","recipe":"AQI=","hash":"h","shards":4,"min_workers":2}}`,
		`{"id":"x","op":"join","run":"demo","member":{"worker":"w","weight":2,"rank":-1}}`,
		`{"id":"x","op":"expire","leases":[{"run":"demo","worker":"w","joined":3}]}`,
		`{"run":"demo","worker":"w","revision":3,"progress":{"step":2,"loss":"NaN","images_per_second":1e9,"phases":{"load":"+Inf"}}}`,
		`{"what":"status"}`,
		`{"error":{"code":"not_leader","message":"no"},"leader":"b"}`,
		`{"run":"demo","generation":2,"revision":3,"phase":"running","members":[{"worker":"w","rank":0,"shards":{"first":0,"count":4}}]}`,
		`{"score":{"recall_at_1":0.5,"metrics":{"a":[1,2]}},"op":"score"}`, `null`, `[]`, `{"id":1}`, "{\"id\":\"\xff\"}", ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := DecodeCommand(data)
		if err == nil {
			cmd.Validate()
		}
		again(t, cmd, err, DecodeCommand)
		beat, err := DecodeBeat(data)
		again(t, beat, err, DecodeBeat)
		query, err := DecodeQuery(data)
		again(t, query, err, DecodeQuery)
		reply, err := DecodeReply(data)
		again(t, reply, err, DecodeReply)
		plan, err := DecodePlan(data)
		again(t, plan, err, DecodePlan)
	})
}

func again[T any](t *testing.T, v T, err error, decode func([]byte) (T, error)) {
	if err != nil {
		require.ErrorIs(t, err, ErrInvalid)
		return
	}
	b, err := Encode(v)
	if err != nil {
		return // too long once written out
	}
	w, err := decode(b)
	require.NoError(t, err)
	c, err := Encode(w)
	require.NoError(t, err)
	require.Equal(t, string(b), string(c))
}
