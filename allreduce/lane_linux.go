package allreduce

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// laneSeals keep both sides from changing the size of a lane, so that no access can fail.
const laneSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// newLane makes a lane in an anonymous file. It takes memory as slots are first used.
func newLane(slots, slotBytes int) (*lane, error) {
	fd, err := unix.MemfdCreate("metrix-ring", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("ring: shared memory: %w", err)
	}
	l := &lane{slots: slots, slotBytes: slotBytes, place: place{uint32(os.Getpid()), uint32(fd)}}
	if err := l.fill(fd); err != nil {
		return nil, errors.Join(fmt.Errorf("ring: shared memory of %d bytes: %w", laneBytes(slots, slotBytes), err), unix.Close(fd))
	}
	return l, nil
}

func (l *lane) fill(fd int) error {
	if err := unix.Ftruncate(fd, int64(laneBytes(l.slots, l.slotBytes))); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, laneSeals); err != nil {
		return err
	}
	if _, err := rand.Read(l.token[:]); err != nil {
		return err
	}
	if err := l.attach(fd); err != nil {
		return err
	}
	copy(l.memory, l.token[:])
	return nil
}

// attach maps the file; l.release unmaps and closes it.
func (l *lane) attach(fd int) (err error) {
	l.memory, err = unix.Mmap(fd, 0, laneBytes(l.slots, l.slotBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	l.release = func() error { return errors.Join(unix.Munmap(l.memory), unix.Close(fd)) }
	return err
}

// errElsewhere says that an offer is not from this machine, or not meant for this process.
var errElsewhere = errors.New("ring: the offered memory is not of this machine")

// largestLane bounds what an offer may make this process map, in bytes.
const largestLane = 64 * (64<<20 + 128)

// openLane opens a lane that another process of this machine offers.
func openLane(at place, token token, slots, slotBytes uint64) (*lane, error) {
	if slots == 0 || slots > maxWindow || slotBytes == 0 || slotBytes%laneLine != 0 || slotBytes > largestLane/slots {
		return nil, errElsewhere
	}
	l := &lane{token: token, place: at, slots: int(slots), slotBytes: int(slotBytes)}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/fd/%d", at.pid, at.fd), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Join(errElsewhere, err)
	}
	if err := l.verify(fd); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return l, nil
}

// verify maps the file behind fd if it is the one that was offered: sealed, of the right size and
// with the token in it.
func (l *lane) verify(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Size != int64(laneBytes(l.slots, l.slotBytes)) {
		return errElsewhere
	}
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || seals != laneSeals {
		return errors.Join(errElsewhere, err)
	}
	if err := l.attach(fd); err != nil {
		return err
	}
	if token(l.memory[:len(l.token)]) != l.token {
		return errors.Join(errElsewhere, unix.Munmap(l.memory))
	}
	return nil
}
