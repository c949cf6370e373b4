// The peer in Go: net/http, a sync.Map of prices and encoding/json, as such a service is usually written.
//
//	price PORT ANSWER_FILE
//
// The answer's fields are read from the file once; each request looks its asset up and encodes the answer anew.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
)

type price struct {
	Asset        string   `json:"asset"`
	Price        float64  `json:"price"`
	Currency     string   `json:"currency"`
	Confidence   float64  `json:"confidence"`
	Sources      int      `json:"sources"`
	Rejected     int      `json:"rejected"`
	Source       string   `json:"source"`
	Timestamp    int64    `json:"timestamp"`
	Status       string   `json:"status"`
	Disagreement float64  `json:"disagreement_bps"`
	Exchanges    []string `json:"exchanges"`
}

func main() {
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	var known price
	if err := json.Unmarshal(text, &known); err != nil {
		log.Fatal(err)
	}
	var prices sync.Map
	prices.Store(known.Asset, known)
	http.HandleFunc("/price", func(w http.ResponseWriter, r *http.Request) {
		found, ok := prices.Load(r.URL.Query().Get("asset"))
		if !ok {
			http.Error(w, `{"error":{"code":"unknown_asset"}}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		body, err := json.Marshal(found)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			log.Print(err)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
