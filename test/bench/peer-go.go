// A sidecar made from Go's own library for elections, etcd's clientv3/concurrency, driven the way its documentation shows:
// campaign, answer for as long as elected, resign on SIGTERM. What electord is measured against; not an example to follow.
//
// Usage: peer-go ETCD ELECTION ID TTL_SECONDS PORT; as a leader it answers ANSWER of the environment, { headers, body } in JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	endpoints, name, id, port := strings.Split(os.Args[1], ","), os.Args[2], os.Args[3], os.Args[5]
	ttl, err := strconv.Atoi(os.Args[4])
	must(err)
	answer := struct {
		Headers map[string]string
		Body    string
	}{}
	_ = json.Unmarshal([]byte(os.Getenv("ANSWER")), &answer)
	body := []byte(answer.Body)

	var leads int32
	go func() {
		must(http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if atomic.LoadInt32(&leads) == 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			for name, value := range answer.Headers {
				w.Header().Set(name, value)
			}
			_, _ = w.Write(body)
		})))
	}()

	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints})
	must(err)
	session, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
	must(err)
	election := concurrency.NewElection(session, name)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		must(election.Campaign(context.Background(), id))
		atomic.StoreInt32(&leads, 1)
	}()
	select {
	case <-told:
		atomic.StoreInt32(&leads, 0)
		_ = election.Resign(context.Background())
		_ = session.Close()
	case <-session.Done():
		must(fmt.Errorf("the session is over"))
	}
}
