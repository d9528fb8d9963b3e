package bounce

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"
)

// ReadMailbox gives the messages at path one by one to use: those of an mbox file, of a Maildir folder (with cur and new),
// or the one message that a file holds. Of each, the first [MaxMail] bytes are read.
func ReadMailbox(ctx context.Context, path string, use func(mail []byte) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the mailbox: %w", err)
	}
	if info.IsDir() {
		return readMaildir(ctx, path, use)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the mailbox: %w", err)
	}
	defer f.Close()
	return readFile(ctx, f, use)
}

func readMaildir(ctx context.Context, path string, use func([]byte) error) error {
	found := false
	for _, folder := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(path, folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the mailbox: %w", err)
		}
		found = true
		for _, e := range entries {
			if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if err := readOne(ctx, filepath.Join(path, folder, e.Name()), use); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("%s is a folder without cur and new, so no Maildir", path)
	}
	return nil
}

func readOne(ctx context.Context, path string, use func([]byte) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // moved by a mail program meanwhile
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the mailbox: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxMail))
	if err != nil {
		return fmt.Errorf("read the mailbox: %w", err)
	}
	return use(b)
}

// readFile reads an mbox, in which each message begins with a line "From …" behind an empty one, or one message.
func readFile(ctx context.Context, r io.Reader, use func([]byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var mail bytes.Buffer
	mbox, empty, begun := false, true, false
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the mailbox: %w", err)
		}
		separator := empty && bytes.HasPrefix(line, []byte("From ")) && (mbox || !begun)
		switch {
		case separator:
			if begun {
				if e := errors.Join(ctx.Err(), use(mail.Bytes())); e != nil {
					return e
				}
			}
			mbox, begun = true, true
			mail.Reset()
		case len(line) > 0:
			begun = true
			if mbox { // ">From " is how a line that begins so is kept apart
				if bare := bytes.TrimLeft(line, ">"); len(bare) < len(line) && bytes.HasPrefix(bare, []byte("From ")) {
					line = line[1:]
				}
			}
			mail.Write(line[:min(len(line), MaxMail-mail.Len())])
		}
		empty = len(bytes.TrimRight(line, "\r\n")) == 0 && len(line) > 0
		if errors.Is(err, io.EOF) {
			if !begun {
				return nil
			}
			return use(mail.Bytes())
		}
	}
}

// toHeaders name whom a message was brought to. Mail systems write the envelope's address into one of the first four.
var toHeaders = []string{"X-Original-To", "Delivered-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "To", "Cc"}

// FindToken looks for an address of ours in a message that came back: to whom it was brought, and else from whom the mail
// that it returns was sent. ok is false if there is none with a valid MAC.
func (a *Address) FindToken(mail []byte) (token string, ok bool) {
	e, _ := message.ReadWithOptions(bytes.NewReader(mail), &message.ReadOptions{MaxHeaderBytes: maxHeader})
	if e == nil {
		return "", false
	}
	for _, name := range toHeaders {
		for _, value := range e.Header.Values(name) {
			if token, ok := a.within(value); ok {
				return token, true
			}
		}
	}
	parts := maxParts
	return a.returned(e, maxDepth, &parts)
}

// returned looks at the headers of mail that a report carries.
func (a *Address) returned(e *message.Entity, depth int, parts *int) (string, bool) {
	kind, _, _ := e.Header.ContentType()
	switch strings.ToLower(kind) {
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
		h, _ := textproto.ReadHeader(bufio.NewReader(io.MultiReader(io.LimitReader(e.Body, maxHeader), strings.NewReader("\r\n\r\n"))))
		return a.within(h.Get("Return-Path"))
	}
	mr := e.MultipartReader()
	if mr == nil || depth == 0 {
		return "", false
	}
	for *parts > 0 {
		*parts--
		part, _ := mr.NextPart()
		if part == nil {
			return "", false
		}
		if token, ok := a.returned(part, depth-1, parts); ok {
			return token, true
		}
	}
	return "", false
}

// within tries each word of a header that may be an address.
func (a *Address) within(value string) (string, bool) {
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(" \t\r\n<>,;\"()", r) }) {
		if token, ok := a.Token(word); ok {
			return token, true
		}
	}
	return "", false
}
