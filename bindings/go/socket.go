// SPDX-License-Identifier: MIT

// Package sp gives PF_SP sockets: REQ/REP, PUB/SUB and PUSH/PULL as sockets of
// the Linux kernel.
//
// A goroutine that waits for one costs no thread: the descriptor is in Go's own
// poller, by os.NewFile. Package net has no part in it: net.FileConn,
// net.FilePacketConn and net.FileListener panic when given such a socket,
// because they do not know its type.
package sp

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// ErrTruncated is returned for a message that was longer than the buffer; the
// rest of it is lost.
var ErrTruncated = errors.New("sp: message longer than the buffer")

// A Socket may be used by any number of goroutines.
type Socket struct {
	file *os.File
	conn syscall.RawConn
}

// Open makes a socket.
func Open(t Type) (*Socket, error) {
	fd, err := syscall.Socket(PF, int(t)|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return newSocket(fd)
}

// Inherited takes a descriptor that the process was started with, or was
// passed, and makes it non-blocking: for all who share the socket.
func Inherited(fd uintptr) (*Socket, error) {
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return newSocket(int(fd))
}

// The descriptor is non-blocking, else os.NewFile would leave it to threads.
func newSocket(fd int) (*Socket, error) {
	file := os.NewFile(uintptr(fd), "sp")
	if file == nil {
		return nil, os.NewSyscallError("sp", syscall.EBADF)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Socket{file, conn}, nil
}

// Close closes the socket. What Send accepted still reaches the peers.
func (s *Socket) Close() error { return s.file.Close() }

// File is the socket as a file, for what needs a descriptor, as ExtraFiles of
// exec.Cmd. It is closed with the Socket.
func (s *Socket) File() *os.File { return s.file }

// SyscallConn implements syscall.Conn.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.conn, nil }

// SetDeadline sets when Send and Recv give up, with os.ErrDeadlineExceeded;
// the zero time is never.
func (s *Socket) SetDeadline(t time.Time) error { return s.file.SetDeadline(t) }

// SetReadDeadline is SetDeadline for Recv alone.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for Send alone.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.file.SetWriteDeadline(t) }

// Bind listens at "host:port", and may be called again for more.
func (s *Socket) Bind(address string) error {
	return s.withAddress("bind", address, syscall.Bind)
}

// Connect dials "host:port", and redials for as long as the socket lives; it
// does not wait for a connection. It may be called again for more peers.
func (s *Socket) Connect(address string) error {
	return s.withAddress("connect", address, syscall.Connect)
}

// Remove removes the endpoint that Bind or Connect made, with its peers.
func (s *Socket) Remove(address string) error {
	return s.withAddress("setsockopt", address, func(fd int, sa syscall.Sockaddr) error {
		return setsockopt(fd, remove, rawSockaddr(sa))
	})
}

// Addr is where the last Bind listens.
func (s *Socket) Addr() (net.Addr, error) {
	var address *net.TCPAddr
	err := s.control("getsockname", func(fd int) error {
		sa, err := syscall.Getsockname(fd)
		switch sa := sa.(type) {
		case *syscall.SockaddrInet4:
			address = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
		case *syscall.SockaddrInet6:
			address = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: zone(sa.ZoneId)}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return address, nil
}

// Send sends one message. It waits while no peer can take it; Pub never does.
func (s *Socket) Send(message []byte) error {
	var err error
	waited := s.conn.Write(func(fd uintptr) bool {
		_, err = retry(func() (int, error) {
			return syscall.SendmsgN(int(fd), message, nil, nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
		})
		return err != syscall.EAGAIN
	})
	return result("send", waited, err)
}

// Recv receives one message, whole. It gives io.EOF when nothing comes any
// more, after Shutdown(syscall.SHUT_RD).
func (s *Socket) Recv() ([]byte, error) {
	var message []byte
	var err error
	// Nobody else here reads meanwhile; another process that has the socket may.
	waited := s.conn.Read(func(fd uintptr) bool {
		var n int
		n, _, err = recvmsg(fd, nil, syscall.MSG_PEEK|syscall.MSG_TRUNC)
		if err == nil {
			message = make([]byte, n)
			_, err = receive(fd, message)
		}
		return err != syscall.EAGAIN
	})
	if err = result("recv", waited, err); err != nil {
		return nil, err
	}
	return message, nil
}

// RecvInto receives one message into a buffer, and gives its length; if it was
// longer than the buffer, ErrTruncated as well.
func (s *Socket) RecvInto(buffer []byte) (int, error) {
	var n int
	var err error
	waited := s.conn.Read(func(fd uintptr) bool {
		n, err = receive(fd, buffer)
		return err != syscall.EAGAIN
	})
	return n, result("recv", waited, err)
}

// Shutdown ends receiving (syscall.SHUT_RD), sending (SHUT_WR) or both, and
// wakes who waits.
func (s *Socket) Shutdown(how int) error {
	return s.control("shutdown", func(fd int) error { return syscall.Shutdown(fd, how) })
}

// Subscribe asks for the messages that begin with topic: all, if it is empty.
// For Sub; before Connect, to miss nothing.
func (s *Socket) Subscribe(topic string) error {
	return s.control("setsockopt", func(fd int) error { return setsockopt(fd, subscribe, []byte(topic)) })
}

// Unsubscribe takes back one Subscribe of that topic.
func (s *Socket) Unsubscribe(topic string) error {
	return s.control("setsockopt", func(fd int) error { return setsockopt(fd, unsubscribe, []byte(topic)) })
}

// SetOption sets an option.
func (s *Socket) SetOption(option Option, value int) error {
	return s.control("setsockopt", func(fd int) error {
		return syscall.SetsockoptInt(fd, SOL, int(option), value)
	})
}

// Option tells the value of an option.
func (s *Socket) Option(option Option) (int, error) {
	var value int
	err := s.control("getsockopt", func(fd int) (err error) {
		value, err = syscall.GetsockoptInt(fd, SOL, int(option))
		return
	})
	return value, err
}

// Info tells the state and the counters of the socket.
func (s *Socket) Info() (Info, error) {
	var told Info
	err := s.control("getsockopt", func(fd int) error {
		size := uint32(unsafe.Sizeof(told))
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), SOL, info,
			uintptr(unsafe.Pointer(&told)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	return told, err
}

func (s *Socket) control(call string, f func(fd int) error) error {
	var err error
	waited := s.conn.Control(func(fd uintptr) { err = f(int(fd)) })
	return result(call, waited, err)
}

func (s *Socket) withAddress(call, address string, f func(int, syscall.Sockaddr) error) error {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return err
	}
	sa := sockaddr(tcp)
	return s.control(call, func(fd int) error { return f(fd, sa) })
}

// result is the error of a call: of the poller, as a deadline, or its own.
func result(call string, waited, err error) error {
	switch {
	case waited != nil:
		return waited
	case err == io.EOF || err == ErrTruncated:
		return err
	}
	return os.NewSyscallError(call, err)
}

func receive(fd uintptr, buffer []byte) (int, error) {
	n, flags, err := recvmsg(fd, buffer, 0)
	switch {
	case err != nil:
		return 0, err
	case flags&syscall.MSG_TRUNC != 0:
		return n, ErrTruncated
	case flags&syscall.MSG_EOR == 0:
		// Every message has this flag, and only messages have.
		return 0, io.EOF
	}
	return n, nil
}

func recvmsg(fd uintptr, buffer []byte, flags int) (n, told int, err error) {
	n, err = retry(func() (int, error) {
		var n int
		var err error
		n, _, told, _, err = syscall.Recvmsg(int(fd), buffer, nil, flags|syscall.MSG_DONTWAIT)
		return n, err
	})
	return
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func setsockopt(fd, option int, value []byte) error {
	return syscall.SetsockoptString(fd, SOL, option, string(value))
}

func sockaddr(tcp *net.TCPAddr) syscall.Sockaddr {
	if ip := tcp.IP.To4(); ip != nil || tcp.IP == nil {
		sa := &syscall.SockaddrInet4{Port: tcp.Port}
		copy(sa.Addr[:], ip)
		return sa
	}
	sa := &syscall.SockaddrInet6{Port: tcp.Port}
	copy(sa.Addr[:], tcp.IP)
	if device, err := net.InterfaceByName(tcp.Zone); err == nil {
		sa.ZoneId = uint32(device.Index)
	}
	return sa
}

func zone(id uint32) string {
	if device, err := net.InterfaceByIndex(int(id)); err == nil {
		return device.Name
	}
	return ""
}

// rawSockaddr is struct sockaddr_in or struct sockaddr_in6.
func rawSockaddr(sa syscall.Sockaddr) []byte {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		raw := syscall.RawSockaddrInet4{Family: syscall.AF_INET, Port: bigEndian(sa.Port), Addr: sa.Addr}
		return append([]byte(nil), (*[syscall.SizeofSockaddrInet4]byte)(unsafe.Pointer(&raw))[:]...)
	case *syscall.SockaddrInet6:
		raw := syscall.RawSockaddrInet6{
			Family: syscall.AF_INET6, Port: bigEndian(sa.Port), Addr: sa.Addr, Scope_id: sa.ZoneId,
		}
		return append([]byte(nil), (*[syscall.SizeofSockaddrInet6]byte)(unsafe.Pointer(&raw))[:]...)
	}
	return nil
}

func bigEndian(port int) uint16 {
	var swapped uint16
	bytes := (*[2]byte)(unsafe.Pointer(&swapped))
	bytes[0], bytes[1] = byte(port>>8), byte(port)
	return swapped
}
