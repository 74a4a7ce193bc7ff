// Work that only the leader does, in Go, with nothing but the standard library.
//
//	go run main.go         ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
//	                       ELECTORD_TOKEN is the bearer token, where the sidecar has one
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
	question, err := http.NewRequest(http.MethodGet, sidecar+"/leader?hold=1s", nil)
	if err != nil {
		return term{}, false
	}
	if token := os.Getenv("ELECTORD_TOKEN"); token != "" {
		question.Header.Set("Authorization", "Bearer "+token)
	}
	asked := time.Now()
	answer, err := client.Do(question)
	if err != nil {
		return term{}, false
	}
	defer answer.Body.Close()
	var leader struct {
		IsLeader     bool   `json:"isLeader"`
		FencingToken string `json:"fencingToken"`
		HeldForMs    int64  `json:"heldForMs"`
	}
	if json.NewDecoder(answer.Body).Decode(&leader) != nil || !leader.IsLeader {
		return term{}, false
	}
	// Nothing that is planned lets another lead before the hold is over.
	return term{leader.FencingToken, asked.Add(time.Duration(leader.HeldForMs) * time.Millisecond)}, true
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
