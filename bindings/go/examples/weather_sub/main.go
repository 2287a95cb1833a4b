// SPDX-License-Identifier: MIT

// weather_sub HOST PORT TOPIC [COUNT] prints the reports that begin with TOPIC.
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
	if len(os.Args) < 4 {
		log.Fatal("usage: weather_sub HOST PORT TOPIC [COUNT]")
	}
	count := -1
	if len(os.Args) > 4 {
		count, _ = strconv.Atoi(os.Args[4])
	}
	subscriber, err := sp.Open(sp.Sub)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()
	// Before connecting, to miss nothing.
	if err := subscriber.Subscribe(os.Args[3]); err != nil {
		log.Fatal(err)
	}
	if err := subscriber.Connect(net.JoinHostPort(os.Args[1], os.Args[2])); err != nil {
		log.Fatal(err)
	}
	for ; count != 0; count-- {
		report, err := subscriber.Recv()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("received %s\n", report)
	}
}
