package console

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

// uploads are what this process knows of files beside the ledger.
type uploads struct {
	mu     sync.Mutex
	failed map[paylink.BatchID]string
}

// keepFailures bounds them; the newest count.
const keepFailures = 100

func (u *uploads) fail(id paylink.BatchID, why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.failed) >= keepFailures {
		clear(u.failed)
	}
	u.failed[id] = why
}

func (u *uploads) why(id paylink.BatchID) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed[id]
}

// keepUploads is how long a file waits in the spool for its batch to be confirmed.
const keepUploads = 24 * time.Hour

var uploadName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// spooled is a file that was uploaded: its folder is named by the hash of its content, and holds it under its own name.
type spooled struct {
	ID, Path, Name string
	Size           int64
}

// keep writes an uploaded file to the spool as it comes; it is never in memory whole.
func (c *Console) keep(part *multipart.Part) (s spooled, err error) {
	if err := os.MkdirAll(c.Spool, 0o700); err != nil {
		return s, fmt.Errorf("make the spool: %w", err)
	}
	c.purge()
	dir, err := os.MkdirTemp(c.Spool, "new-")
	if err != nil {
		return s, fmt.Errorf("make room in the spool: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir) // the error at hand says more
		}
	}()
	s.Name = fileName(part.FileName())
	f, err := os.OpenFile(filepath.Join(dir, s.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return s, fmt.Errorf("keep the upload: %w", err)
	}
	sum := sha256.New()
	s.Size, err = io.Copy(io.MultiWriter(f, sum), part)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return s, fmt.Errorf("keep the upload: %w", err)
	}
	if s.Size == 0 {
		return s, say(http.StatusUnprocessableEntity, "Choose a file first: what came was empty.")
	}
	s.ID = hex.EncodeToString(sum.Sum(nil))
	home := filepath.Join(c.Spool, s.ID)
	if err := os.RemoveAll(home); err != nil {
		return s, fmt.Errorf("make room in the spool: %w", err)
	}
	if err := os.Rename(dir, home); err != nil {
		return s, fmt.Errorf("keep the upload: %w", err)
	}
	s.Path = filepath.Join(home, s.Name)
	return s, nil
}

// fileName is a file's own name, fit for a path and for people.
func fileName(name string) string {
	name = filepath.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`/:*?"<>|`, r) || unicode.Is(unicode.Bidi_Control, r) {
			return '_'
		}
		return r
	}, strings.TrimLeft(strings.ToValidUTF8(name, "_"), ". "))
	if r := []rune(name); len(r) > 80 {
		name = string(r[len(r)-80:])
	}
	if name == "" {
		return "payers"
	}
	return name
}

func (c *Console) spooled(id string) (s spooled, err error) {
	if !uploadName.MatchString(id) {
		return s, say(http.StatusNotFound, "There is no such upload.")
	}
	entries, err := os.ReadDir(filepath.Join(c.Spool, id))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) != 1 {
		return s, say(http.StatusNotFound, "This upload is no longer kept. Upload the file again: what was said about its columns is remembered.")
	}
	if err != nil {
		return s, fmt.Errorf("look into the spool: %w", err)
	}
	info, err := entries[0].Info()
	if err != nil {
		return s, fmt.Errorf("look into the spool: %w", err)
	}
	return spooled{ID: id, Name: entries[0].Name(), Path: filepath.Join(c.Spool, id, entries[0].Name()), Size: info.Size()}, nil
}

// forget drops an upload that is no longer needed. It holds personal data.
func (c *Console) forget(id string) {
	if !uploadName.MatchString(id) {
		return
	}
	if err := os.RemoveAll(filepath.Join(c.Spool, id)); err != nil {
		c.Log.Error("an upload was not removed", "error", err)
	}
}

// purge drops what nobody came back for.
func (c *Console) purge() {
	entries, err := os.ReadDir(c.Spool)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || time.Since(info.ModTime()) < keepUploads || !(uploadName.MatchString(e.Name()) || strings.HasPrefix(e.Name(), "new-")) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.Spool, e.Name())); err != nil {
			c.Log.Error("an old upload was not removed", "error", err)
		}
	}
}

// soon is how long a person waits for a file before they are shown its progress.
const soon = 3 * time.Second

// bringIn reads a file into a draft by the code of the command line. It returns when that is done, or when the batch is
// there and the reading takes longer than a person should wait.
func (c *Console) bringIn(r *http.Request, o intake.Order, after func()) (paylink.BatchID, error) {
	began := make(chan paylink.BatchID, 1)
	done := make(chan error, 1)
	o.Began = func(b paylink.Batch, _ bool) { began <- b.ID }
	o.Actor = actor(r)
	c.done.Go(func() {
		b, _, err := intake.Import(c.ended, c.Ledger, c.Intake(c.Ledger.Now()), o)
		if err != nil && b.ID != 0 {
			c.jobs.fail(b.ID, fileWords(err))
			if _, ok := intake.AsFileError(err); !ok && c.ended.Err() == nil {
				c.Log.Error("a file was not brought in", "batch", b.ID.String(), "error", err)
			}
		}
		if after != nil {
			after()
		}
		done <- err
	})
	var id paylink.BatchID
	patience := time.NewTimer(soon)
	defer patience.Stop()
	waited := false
	for {
		select {
		case id = <-began:
			if waited {
				return id, nil
			}
			began = nil
		case err := <-done:
			if id == 0 && began != nil {
				select {
				case id = <-began:
				default:
				}
			}
			return id, err
		case <-patience.C:
			if waited = true; id != 0 {
				return id, nil
			}
		case <-r.Context().Done():
			return id, context.Cause(r.Context())
		}
	}
}

// fileWords say what is wrong with a file, for the person who made it.
func fileWords(err error) string {
	if e, ok := intake.AsFileError(err); ok {
		where := ""
		if e.Line > 0 {
			where = fmt.Sprintf("Line %d: ", e.Line)
		}
		return sentence(where+e.Reason) + " " + sentence(hintWords(e.Hint))
	}
	if errors.Is(err, context.Canceled) {
		return "Reading was broken off. Upload the file again: it goes on where it stopped."
	}
	if errors.Is(err, paylink.ErrConflict) || errors.Is(err, paylink.ErrInvalid) {
		return plain(err) + "."
	}
	return "The file could not be read in, by no fault of its own. Upload it again: it goes on where it stopped."
}

// readingOf is how the file of a batch was read.
func readingOf(d ledger.Detail) (rd intake.Reading, err error) {
	if err := json.Unmarshal([]byte(d.Options), &rd); err != nil {
		return rd, fmt.Errorf("the options of a batch: %w", err)
	}
	return rd, nil
}
