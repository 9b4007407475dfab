//go:build linux

// Package link joins two network namespaces by a wire of a given delay. It needs
// root and /dev/net/tun, and neither programs nor modules: each end is a TUN
// device, and the packets in between are held back by this process. Nothing is
// left when it ends, however it ends: the namespaces have no name.
package link

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// packetBytes is the most that a device hands over at once, queued how many
// packets may be on the wire.
const (
	packetBytes = 64 << 10
	queued      = 4096
)

// Link is a running wire.
type Link struct {
	ends  [2]*End
	wires sync.WaitGroup
}

// End is a namespace with one end of the wire in it.
type End struct {
	// Address of the end.
	Address string

	namespace *os.File
	device    *os.File
}

// New makes a wire on which every packet takes delay. The error says what is
// missing where it cannot be had.
func New(delay time.Duration) (*Link, error) {
	l := &Link{}
	for i := range l.ends {
		end, err := newEnd(net.IPv4(10, 99, 99, byte(i+1)))
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.ends[i] = end
	}
	l.wires.Go(func() { carry(l.ends[0].device, l.ends[1].device, delay) })
	l.wires.Go(func() { carry(l.ends[1].device, l.ends[0].device, delay) })
	return l, nil
}

// Ends returns both ends.
func (l *Link) Ends() (a, b *End) { return l.ends[0], l.ends[1] }

// Close cuts the wire. Processes that were started at its ends must have ended.
func (l *Link) Close() (err error) {
	for _, end := range l.ends {
		if end != nil {
			err = errors.Join(err, end.device.Close(), end.namespace.Close())
		}
	}
	l.wires.Wait()
	return err
}

// Start starts a command in the end's namespace.
func (e *End) Start(cmd *exec.Cmd) error {
	return apart(func() error {
		if err := unix.Setns(int(e.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return cmd.Start()
	})
}

// apart runs f on a thread of its own, which ends with it.
func apart(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: nobody else gets this thread
		done <- f()
	}()
	return <-done
}

func newEnd(ip net.IP) (e *End, err error) {
	e = &End{Address: ip.String()}
	return e, apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if e.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if e.device, err = tun(ip); err != nil {
			return errors.Join(err, e.namespace.Close())
		}
		return nil
	})
}

// tun makes a TUN device in the namespace of this thread.
func tun(ip net.IP) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	if err := configure(fd, ip); err != nil {
		return nil, errors.Join(fmt.Errorf("set up a TUN device: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

func configure(fd int, ip net.IP) error {
	const name = "bench0"
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	steps := []struct {
		fd      int
		request uint
		set     func(*unix.Ifreq) error
	}{
		{fd, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }},
		{socket, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip.To4()) }},
		{socket, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{socket, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	}
	for _, step := range steps {
		request, err := unix.NewIfreq(name)
		if err == nil {
			err = step.set(request)
		}
		if err == nil {
			err = unix.IoctlIfreq(step.fd, step.request, request)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// packet is on the wire until it is due.
type packet struct {
	raw []byte
	due time.Time
}

// carry takes packets from one device to the other until the first is closed.
func carry(from, to *os.File, delay time.Duration) {
	wire := make(chan packet, queued)
	var last sync.WaitGroup
	last.Go(func() {
		for p := range wire {
			rest(time.Until(p.due))
			_, _ = to.Write(p.raw) // what a device does not take is lost, as on any wire
		}
	})
	buffer := make([]byte, packetBytes)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			break
		}
		wire <- packet{append([]byte(nil), buffer[:n]...), time.Now().Add(delay)}
	}
	close(wire)
	last.Wait()
}

// rest sleeps more exactly than the runtime's timers, which count milliseconds.
func rest(d time.Duration) {
	if d > 0 {
		t := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&t, nil) // interrupted, a packet is a little early
	}
}
