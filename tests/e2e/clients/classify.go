// go run classify.go URL FILE: posts the file by net/http's default client, with a known length and in chunks.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	picture, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	for _, body := range []io.Reader{bytes.NewReader(picture), io.MultiReader(bytes.NewReader(picture))} {
		answer, err := http.Post(os.Args[1], "image/png", body)
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.StatusCode, string(text))
	}
}
