"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  // Tokens stay in the memory of the page.
  persistAuthorization: false,
  // Nobody else is asked whether the description is valid.
  validatorUrl: null,
  // Calls have addresses of their own within the page.
  deepLinking: true,
});
