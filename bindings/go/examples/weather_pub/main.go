// SPDX-License-Identifier: MIT

// weather_pub HOST PORT [COUNT] publishes reports, once there is a subscriber.
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

var forecast = []string{"Bratislava: 21 C, sunny", "Paris: 14 C, rain", "London: 12 C, fog"}

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: weather_pub HOST PORT [COUNT]")
	}
	count := -1
	if len(os.Args) > 3 {
		count, _ = strconv.Atoi(os.Args[3])
	}
	publisher, err := sp.Open(sp.Pub)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	if err := publisher.Bind(net.JoinHostPort(os.Args[1], os.Args[2])); err != nil {
		log.Fatal(err)
	}
	for {
		peers, err := publisher.Option(sp.Peers)
		if err != nil {
			log.Fatal(err)
		}
		if peers > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i := 0; i != count; i++ {
		report := forecast[i%len(forecast)]
		if err := publisher.Send([]byte(report)); err != nil {
			log.Fatal(err)
		}
		fmt.Println("published", report)
		time.Sleep(100 * time.Millisecond)
	}
}
