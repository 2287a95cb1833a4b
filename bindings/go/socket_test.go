// SPDX-License-Identifier: MIT

package sp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, kind Type) *Socket {
	t.Helper()
	s, err := Open(kind)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	must(t, s.SetDeadline(time.Now().Add(20*time.Second)))
	return s
}

func address(t *testing.T, s *Socket) string {
	t.Helper()
	a, err := s.Addr()
	must(t, err)
	return a.String()
}

// pair is two sockets that are connected.
func pair(t *testing.T, binds, connects Type, host string) (*Socket, *Socket) {
	t.Helper()
	first, second := open(t, binds), open(t, connects)
	if connects == Sub {
		must(t, second.Subscribe("news"))
	}
	must(t, first.Bind(host+":0"))
	must(t, second.Connect(address(t, first)))
	for _, s := range []*Socket{first, second} {
		for peers := 0; peers == 0; time.Sleep(10 * time.Millisecond) {
			var err error
			peers, err = s.Option(Peers)
			must(t, err)
		}
	}
	return first, second
}

func receives(t *testing.T, s *Socket, want string) {
	t.Helper()
	got, err := s.Recv()
	if err != nil || string(got) != want {
		t.Fatalf("received %q, %v; expected %q", got, err, want)
	}
}

func TestRequestAndReply(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		rep, req := pair(t, Rep, Req, host)
		must(t, req.Send([]byte("Hello")))
		receives(t, rep, "Hello")
		must(t, rep.Send([]byte("World")))
		receives(t, req, "World")
	}
}

func TestDeadlines(t *testing.T) {
	_, pull := pair(t, Push, Pull, "127.0.0.1")
	must(t, pull.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if _, err := pull.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Recv gave %v", err)
	}
	lonely := open(t, Push)
	must(t, lonely.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	if err := lonely.Send([]byte("to nobody")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Send gave %v", err)
	}
}

func TestWaitingCostsNoThreads(t *testing.T) {
	rep := open(t, Rep)
	must(t, rep.Bind("127.0.0.1:0"))
	var wait sync.WaitGroup
	for i := 0; i < 50; i++ {
		req := open(t, Req)
		must(t, req.Connect(address(t, rep)))
		wait.Add(1)
		go func() {
			defer wait.Done()
			if err := req.Send([]byte("Hello")); err != nil {
				t.Error(err)
			}
			if _, err := req.Recv(); err != nil {
				t.Error(err)
			}
		}()
	}
	time.Sleep(100 * time.Millisecond)
	threads, err := os.ReadDir("/proc/self/task")
	must(t, err)
	if len(threads) > runtime.NumCPU()+15 {
		t.Errorf("%d threads", len(threads))
	}
	for i := 0; i < 50; i++ {
		receives(t, rep, "Hello")
		must(t, rep.Send([]byte("World")))
	}
	wait.Wait()
}

func TestTopics(t *testing.T) {
	pub, sub := pair(t, Pub, Sub, "127.0.0.1")
	for _, message := range []string{"gossip", "news: 1", "news: 2"} {
		must(t, pub.Send([]byte(message)))
	}
	receives(t, sub, "news: 1")
	receives(t, sub, "news: 2")
	must(t, sub.Subscribe(""))
	must(t, sub.Unsubscribe("news"))
	if err := sub.Unsubscribe("news"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Unsubscribe gave %v", err)
	}
}

func TestLongEmptyAndLastMessage(t *testing.T) {
	push, pull := pair(t, Push, Pull, "127.0.0.1")
	for _, message := range [][]byte{make([]byte, 1<<20), nil, []byte("too long"), []byte("last")} {
		must(t, push.Send(message))
	}
	receives(t, pull, string(make([]byte, 1<<20)))
	receives(t, pull, "")
	buffer := make([]byte, 3)
	if n, err := pull.RecvInto(buffer); n != 3 || err != ErrTruncated || string(buffer) != "too" {
		t.Errorf("RecvInto gave %d, %v", n, err)
	}
	var last int
	var err error
	must(t, pull.conn.Read(func(fd uintptr) bool {
		last, _, err = recvmsg(fd, nil, syscall.MSG_PEEK|syscall.MSG_TRUNC)
		return err != syscall.EAGAIN
	}))
	if last != 4 || err != nil {
		t.Fatalf("the last message has %d bytes, %v", last, err)
	}
	must(t, pull.Shutdown(syscall.SHUT_RD))
	receives(t, pull, "last")
	if _, err := pull.Recv(); err != io.EOF {
		t.Errorf("at the end Recv gave %v", err)
	}
	must(t, push.Shutdown(syscall.SHUT_WR))
	if err := push.Send([]byte("more")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after SHUT_WR Send gave %v", err)
	}
}

func TestOptionsAndInfo(t *testing.T) {
	rep, req := pair(t, Rep, Req, "127.0.0.1")
	must(t, req.SetOption(SndMaxSize, 5))
	if value, err := req.Option(SndMaxSize); value != 5 || err != nil {
		t.Errorf("SndMaxSize is %d, %v", value, err)
	}
	if err := req.Send([]byte("Hello!")); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("Send gave %v", err)
	}
	must(t, req.Send([]byte("Hello")))
	receives(t, rep, "Hello")
	told, err := rep.Info()
	must(t, err)
	if told.Type != uint32(Rep) || told.Listeners != 1 || told.RxMsgs != 1 || told.RxBytes != 5 {
		t.Errorf("Info gave %+v", told)
	}
}

func TestRemove(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		rep, req := pair(t, Rep, Req, host)
		must(t, req.Remove(address(t, rep)))
		must(t, rep.Remove(address(t, rep)))
		if told, err := req.Info(); told.Dialers != 0 || err != nil {
			t.Errorf("Info gave %+v, %v", told, err)
		}
	}
}

// A process of this program that has a socket as its descriptor 3.
func TestInherited(t *testing.T) {
	if os.Getenv("SP_CHILD") != "" {
		push, err := Inherited(3)
		must(t, err)
		must(t, push.Send([]byte(fmt.Sprint("from ", os.Getpid()))))
		return
	}
	push, pull := pair(t, Push, Pull, "127.0.0.1")
	child := exec.Command(os.Args[0], "-test.run=^TestInherited$")
	child.Env = append(os.Environ(), "SP_CHILD=1")
	child.ExtraFiles = []*os.File{push.File()}
	if said, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	receives(t, pull, fmt.Sprint("from ", child.Process.Pid))
}
