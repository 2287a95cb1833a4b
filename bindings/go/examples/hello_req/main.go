// SPDX-License-Identifier: MIT

// hello_req HOST PORT [COUNT] sends the request Hello and prints the reply.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"time"

	"pf-sp.invalid/sp"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: hello_req HOST PORT [COUNT]")
	}
	count := 1
	if len(os.Args) > 3 {
		count, _ = strconv.Atoi(os.Args[3])
	}
	client, err := sp.Open(sp.Req)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Connect(net.JoinHostPort(os.Args[1], os.Args[2])); err != nil {
		log.Fatal(err)
	}
	for ; count > 0; count-- {
		client.SetDeadline(time.Now().Add(time.Minute))
		if err := client.Send([]byte("Hello")); err != nil {
			log.Fatal(err)
		}
		reply, err := client.Recv()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("sent Hello, received %s\n", reply)
	}
}
