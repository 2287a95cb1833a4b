// SPDX-License-Identifier: MIT

// hello_rep HOST PORT [COUNT] replies World to each request.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"strconv"

	"pf-sp.invalid/sp"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: hello_rep HOST PORT [COUNT]")
	}
	count := -1
	if len(os.Args) > 3 {
		count, _ = strconv.Atoi(os.Args[3])
	}
	server, err := sp.Open(sp.Rep)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	if err := server.Bind(net.JoinHostPort(os.Args[1], os.Args[2])); err != nil {
		log.Fatal(err)
	}
	for ; count != 0; count-- {
		request, err := server.Recv()
		if err != nil {
			log.Fatal(err)
		}
		if err := server.Send([]byte("World")); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("received %s, replied World\n", request)
	}
}
