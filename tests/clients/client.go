// Go's net/http client with its pool of connections.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

var client = &http.Client{
	Timeout:   time.Minute,
	Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second, DisableCompression: true},
}

func ask(method, path string, body io.Reader, fields ...string) (*http.Response, []byte) {
	request, err := http.NewRequest(method, os.Args[1]+path, body)
	check(err)
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := client.Do(request)
	check(err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	check(err)
	return response, content
}

func check(err error) {
	if err != nil {
		fmt.Println("client FAILED", err)
		os.Exit(1)
	}
}

func pattern(length int) []byte {
	whole := make([]byte, length)
	for i := range whole {
		whole[i] = byte(i % 251)
	}
	return whole
}

func content(method, path string, body io.Reader, fields ...string) []byte {
	_, content := ask(method, path, body, fields...)
	return content
}

// A reader whose length net/http does not know, so that it sends chunks.
type stream struct{ io.Reader }

func report(name string, good bool) {
	outcome := "FAILED"
	if good {
		outcome = "ok"
	}
	fmt.Println(name, outcome)
}

func main() {
	report("get", string(content("GET", "/", nil)) == "Hello, world")
	response, nothing := ask("HEAD", "/", nil)
	report("head", response.ContentLength == 12 && len(nothing) == 0)
	response, _ = ask("GET", "/", nil, "If-None-Match", `"1"`)
	report("304", response.StatusCode == 304)
	echoed := true
	for _, length := range []int{0, 1, 65536, 10000000} {
		echoed = echoed && bytes.Equal(content("POST", "/echo", bytes.NewReader(pattern(length))), pattern(length))
	}
	report("echo", echoed)
	report("upload", string(content("POST", "/check", stream{bytes.NewReader(pattern(1000000))})) == "1000000")
	report("download", bytes.Equal(content("GET", "/chunks/10000000", nil), pattern(10000000)))
	report("reuse", bytes.Equal(content("GET", "/peer", nil), content("GET", "/peer", nil)))
	expected := content("POST", "/check", bytes.NewReader(pattern(100000)), "Expect", "100-continue")
	report("expect", string(expected) == "100000")
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	writer.Write([]byte("untouched"))
	writer.Close()
	sent := packed.Bytes()
	response, received := ask("POST", "/echo", bytes.NewReader(sent), "Content-Encoding", "gzip")
	report("gzip", response.Header.Get("Content-Encoding") == "gzip" && bytes.Equal(sent, received))
	fmt.Println("done ok")
}
