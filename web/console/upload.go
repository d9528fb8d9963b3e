package console

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"dunlin/intake"
	"dunlin/ledger"
	"dunlin/paylink"
)

type uploadView struct {
	Max      string
	Names    []string
	Approve  bool
	Wrong    string
	Defaults intake.Reading
}

func (c *Console) uploadPage(w http.ResponseWriter, r *http.Request) error {
	return c.render(w, r, http.StatusOK, "upload", "upload", "Send a file", uploadView{Max: size(c.MaxUpload), Names: intake.ColumnNames(), Defaults: c.Reading})
}

// uploadTime is how long a slow line may take to bring a large file.
const uploadTime = 30 * time.Minute

// upload takes a file. It is streamed to the spool; what its columns mean is asked on the next page.
func (c *Console) upload(w http.ResponseWriter, r *http.Request) error {
	out := http.NewResponseController(w)
	for _, set := range []func(time.Time) error{out.SetReadDeadline, out.SetWriteDeadline} {
		if err := set(time.Now().Add(uploadTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	if r.ContentLength > c.MaxUpload {
		return &http.MaxBytesError{Limit: c.MaxUpload}
	}
	r.Body = http.MaxBytesReader(w, r.Body, c.MaxUpload)
	form, err := r.MultipartReader()
	if err != nil {
		return say(http.StatusBadRequest, "Choose a file first.")
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return say(http.StatusUnprocessableEntity, "Choose a file first.")
		}
		if err != nil {
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				return err
			}
			return say(http.StatusBadRequest, "The upload broke off. Try again.")
		}
		if part.FormName() != "file" || part.FileName() == "" {
			continue
		}
		s, err := c.keep(part)
		if err != nil {
			return err
		}
		if _, err := intake.Look(s.Path, c.Reading, c.Ledger.Now()); err != nil {
			if _, ok := intake.AsFileError(err); !ok {
				return err
			}
			c.forget(s.ID)
			return c.render(w, r, http.StatusUnprocessableEntity, "upload", "upload", "Send a file",
				uploadView{Max: size(c.MaxUpload), Names: intake.ColumnNames(), Wrong: s.Name + ": " + fileWords(err)})
		}
		return to(w, "/console/upload/"+s.ID, "")
	}
}

// columnsView asks what a file's columns mean and how its cells are to be read.
type columnsView struct {
	File       spooled
	Format     string
	Columns    []columnView
	Names      []string
	Given      intake.Given
	Canary     int
	Receipts   bool
	Remembered bool
	Wrong      string
	Before     *ledger.SentBeforeError
	Draft      paylink.BatchID // of the same file: it is read anew
	Channels   string
}

type columnView struct {
	intake.Column
	I       int
	Samples []string
	Auto    bool // read so without being told
}

func (c *Console) columnsPage(w http.ResponseWriter, r *http.Request) error {
	s, err := c.spooled(r.PathValue("upload"))
	if err != nil {
		return err
	}
	auto, err := intake.Look(s.Path, c.Reading, c.Ledger.Now())
	if err != nil {
		return say(http.StatusUnprocessableEntity, "%s", fileWords(err))
	}
	rd := c.Reading
	if rd.Mapping, err = c.Ledger.ColumnMap(r.Context(), auto.HeaderKey()); err != nil {
		return err
	}
	v := columnsView{File: s, Remembered: len(rd.Mapping) > 0, Given: given(rd)}
	return c.showColumns(w, r, http.StatusOK, v, rd, auto)
}

// given writes a reading as a person would have said it.
func given(rd intake.Reading) intake.Given {
	return intake.Given{Currency: rd.Currency, Country: rd.Country, Language: rd.Language, Timezone: rd.Timezone, Channels: rd.Routes.String(),
		NumberFormat: string(rd.NumberFormat), AllowRepeat: rd.AllowRepeat}
}

func (c *Console) showColumns(w http.ResponseWriter, r *http.Request, status int, v columnsView, rd intake.Reading, auto intake.Preview) error {
	p, err := intake.Look(v.File.Path, rd, c.Ledger.Now())
	if err != nil { // two columns that were matched with the same
		p = auto
		v.Wrong = first(v.Wrong, fileWords(err))
	} else if p.Wrong != nil && v.Wrong == "" {
		v.Wrong = fileWords(p.Wrong)
	}
	v.Format, v.Names = p.Format, intake.ColumnNames()
	for i, col := range p.Columns {
		cv := columnView{Column: col, I: i, Auto: i < len(auto.Columns) && auto.Columns[i].As == col.As}
		for _, row := range p.Samples {
			if i < len(row) {
				cv.Samples = append(cv.Samples, row[i])
			}
		}
		v.Columns = append(v.Columns, cv)
	}
	if b, err := c.Ledger.FindHash(r.Context(), v.File.ID); err == nil && b.State == paylink.BatchDraft {
		v.Draft = b.ID
	}
	return c.render(w, r, status, "columns", "upload", v.File.Name, v)
}

// columns takes what a person said about the columns, remembers it, and reads the file into a draft.
func (c *Console) columns(w http.ResponseWriter, r *http.Request) error {
	s, err := c.spooled(r.PathValue("upload"))
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return say(http.StatusBadRequest, "The form could not be read.")
	}
	auto, err := intake.Look(s.Path, c.Reading, c.Ledger.Now())
	if err != nil {
		return say(http.StatusUnprocessableEntity, "%s", fileWords(err))
	}
	f := r.PostForm
	g := intake.Given{Currency: f.Get("currency"), Country: f.Get("country"), Language: f.Get("language"), Channels: f.Get("channels"),
		NumberFormat: f.Get("number_format"), AllowRepeat: f.Get("allow_repeat") != ""}
	rd, wrong := g.Over(c.Reading)
	rd.Mapping = map[string]string{}
	for i, col := range auto.Columns {
		as, told := f["column-"+strconv.Itoa(i)]
		if !told || as[0] == col.As || as[0] != "" && !slices.Contains(intake.ColumnNames(), as[0]) {
			continue
		}
		rd.Mapping[col.Name] = as[0]
	}
	if text := f.Get("canary"); text != "" && wrong == nil {
		if rd.Canary, err = strconv.Atoi(text); err != nil || rd.Canary < 0 {
			wrong = errors.New("how many go first is a number")
		}
	}
	rd.Receipts = f.Get("receipts") != ""
	v := columnsView{File: s, Given: g, Canary: rd.Canary, Receipts: rd.Receipts}
	if wrong != nil {
		v.Wrong = plain(wrong)
		return c.showColumns(w, r, http.StatusUnprocessableEntity, v, c.Reading, auto)
	}
	if len(rd.Mapping) == 0 {
		rd.Mapping = nil
	}
	p, err := intake.Look(s.Path, rd, c.Ledger.Now())
	if err != nil || p.Wrong != nil {
		return c.showColumns(w, r, http.StatusUnprocessableEntity, v, rd, auto)
	}
	if err := c.Ledger.SaveColumnMap(r.Context(), auto.HeaderKey(), rd.Mapping, actor(r)); err != nil {
		return err
	}
	if err := c.dropDraft(r, s.ID, rd); err != nil {
		return err
	}
	id, err := c.bringIn(r, intake.Order{Path: s.Path, Reading: rd, Again: f.Get("again") != ""}, nil)
	var before *ledger.SentBeforeError
	switch {
	case errors.As(err, &before):
		v.Before = before
		return c.showColumns(w, r, http.StatusConflict, v, rd, auto)
	case err != nil:
		v.Wrong = fileWords(err)
		return c.showColumns(w, r, http.StatusUnprocessableEntity, v, rd, auto)
	}
	return to(w, "/console/batches/"+id.String(), "")
}

// dropDraft calls off the draft of the same file that was read otherwise, so that it can be read anew.
func (c *Console) dropDraft(r *http.Request, hash string, rd intake.Reading) error {
	b, err := c.Ledger.FindHash(r.Context(), hash)
	if errors.Is(err, paylink.ErrNotFound) || err == nil && b.State != paylink.BatchDraft {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := c.Ledger.Detail(r.Context(), b.ID)
	if err != nil {
		return err
	}
	if options, err := rd.Options(); err != nil || options == d.Options {
		return err
	}
	if err := c.Ledger.CancelBatch(r.Context(), b.ID, actor(r), "the file is read anew with other columns or settings"); err != nil {
		return fmt.Errorf("call off the draft: %w", err)
	}
	return nil
}
