export default {
  // Beside this file, and not beside the installed packages, which several servers may share.
  cacheDir: ".vite",
  clearScreen: false,
  // Port 0: the system gives a free one. A tunnel brings its own host.
  server: { allowedHosts: true, host: "127.0.0.1", port: 0, strictPort: true },
};
