// Prints the live containers and each change, forever: go run whalewatcher.go [SOCKET]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

type container struct {
	Name string `json:"name"`
}

// See docs/json.md for all fields.
type event struct {
	Event      string      `json:"event"`
	Containers []container `json:"containers"`
	Container  *container  `json:"container"`
}

// follow passes on events up to the end of the connection. It returns the ID of the last one.
func follow(client *http.Client, last string, handle func(event)) string {
	request, _ := http.NewRequest("GET", "http://localhost/v1/events", nil)
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	answer, err := client.Do(request)
	if err != nil {
		return last
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return last
	}
	var id, data string
	lines := bufio.NewReader(answer.Body)
	for {
		// A stream has at least a comment in 15 s.
		watchdog := time.AfterFunc(time.Minute, func() { answer.Body.Close() })
		line, err := lines.ReadString('\n')
		watchdog.Stop()
		if err != nil {
			return last
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case name == "id":
			id = value
		case name == "data":
			data = value
		case name == "" && data != "":
			var next event
			// What it does not print may have other types.
			if json.Unmarshal([]byte(data), &next) == nil {
				handle(next)
			}
			last, data = id, ""
		}
	}
}

func main() {
	path := "/run/whalewatcher.sock"
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	for last := ""; ; time.Sleep(time.Second) {
		last = follow(client, last, func(next event) {
			// A snapshot replaces what is known.
			for _, one := range next.Containers {
				fmt.Println("alive", one.Name)
			}
			if next.Container != nil {
				fmt.Println(next.Event, next.Container.Name)
			}
		})
	}
}
