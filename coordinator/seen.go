package coordinator

import "github.com/metrixml/metrix/coordinator/api"

// seen remembers the answers to the last MaxRemember commands by id, oldest forgotten first. It is
// part of the state: a command repeated after a change of leader, a restart or a snapshot is known.
// A client repeats a command for seconds, in which a group takes far fewer commands.
type seen struct {
	order   []answer // a ring once it is full
	next    int      // where the next answer goes once it is full
	answers map[string]*api.Error
}

// answer is what a command was told; Err is nil if it was carried out.
type answer struct {
	ID  string     `json:"id"`
	Err *api.Error `json:"err,omitempty"`
}

func (s *seen) answer(id string) (*api.Error, bool) {
	err, ok := s.answers[id]
	return err, ok
}

func (s *seen) remember(id string, err *api.Error) {
	if s.answers == nil {
		s.answers = make(map[string]*api.Error)
	}
	s.answers[id] = err
	if len(s.order) < MaxRemember {
		s.order = append(s.order, answer{ID: id, Err: err})
		return
	}
	delete(s.answers, s.order[s.next].ID)
	s.order[s.next] = answer{ID: id, Err: err}
	s.next = (s.next + 1) % MaxRemember
}

// list returns the answers, oldest first.
func (s *seen) list() []answer {
	return append(append([]answer{}, s.order[s.next:]...), s.order[:s.next]...)
}
