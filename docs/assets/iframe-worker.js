// Browsers give no worker to a page that is opened from a disk, and the search needs one: a hidden frame takes its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.frame = frame;
      this.waiting = [];
      const name = `__worker${Math.random().toString(36).slice(2)}`;
      window[name] = {
        ready: () => {
          const waiting = this.waiting;
          this.waiting = null;
          waiting.forEach((data) => this.postMessage(data));
        },
        told: (data) => {
          const event = new MessageEvent("message", { data });
          this.dispatchEvent(event);
          if (this.onmessage) this.onmessage(event);
        },
      };
      const page = frame.contentDocument;
      page.open();
      page.write(
        `<body><script>var postMessage = (data) => parent.${name}.told(data);</script>` +
          `<script src="${url}"></script><script>parent.${name}.ready();</script>`,
      );
      page.close();
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
