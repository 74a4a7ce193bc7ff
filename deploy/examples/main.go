// Work that only the leader does, in Go, with nothing but the standard library.
//
//	go run main.go         ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

type term struct {
	fencingToken string
	deadline     time.Time
}

var client = http.Client{Timeout: time.Second}

// ask returns the term of this instance; false where it does not lead, or nobody can say.
func ask(sidecar string) (term, bool) {
	// Counted from BEFORE asking: the answer may have been long on its way. time.Now carries the monotonic clock, and
	// only that is compared.
	asked := time.Now()
	answer, err := client.Get(sidecar + "/leader")
	if err != nil {
		return term{}, false
	}
	defer answer.Body.Close()
	var leader struct {
		IsLeader     bool   `json:"isLeader"`
		FencingToken string `json:"fencingToken"`
		ValidForMs   int64  `json:"validForMs"`
	}
	if json.NewDecoder(answer.Body).Decode(&leader) != nil || !leader.IsLeader {
		return term{}, false
	}
	return term{leader.FencingToken, asked.Add(time.Duration(leader.ValidForMs) * time.Millisecond)}, true
}

// work must stop when ctx ends. Pass the token on to whatever you write to, which refuses a lower one than it has seen.
func work(ctx context.Context, fencingToken string) {
	if ctx.Err() == nil {
		fmt.Println("work done, fencing token", fencingToken)
	}
}

func main() {
	sidecar := os.Getenv("ELECTORD_LOCAL_URL")
	if sidecar == "" {
		sidecar = "http://127.0.0.1:4041"
	}
	for {
		if mine, ok := ask(sidecar); ok {
			ctx, cancel := context.WithDeadline(context.Background(), mine.deadline)
			work(ctx, mine.fencingToken)
			cancel()
		}
		time.Sleep(200 * time.Millisecond)
	}
}
