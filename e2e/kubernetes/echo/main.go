// An HTTP server that tells which pod on which node answered, and whom it
// believes to have asked. The tests read all three from one line.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()

	pod, node := os.Getenv("HOSTNAME"), os.Getenv("NODE_NAME")
	server := &http.Server{
		Addr:              ":8080",
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
			client, _, err := net.SplitHostPort(request.RemoteAddr)
			if err != nil {
				client = request.RemoteAddr
			}
			fmt.Fprintf(answer, "pod=%s node=%s client=%s\n", pod, node, client)
		}),
	}

	stopped := make(chan struct{})
	go func() {
		<-stop.Done()
		// Requests under way are answered, new ones refused.
		deadline, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := server.Shutdown(deadline); err != nil {
			log.Print(err)
		}
		close(stopped)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}
